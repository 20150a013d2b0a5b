"""A statement that may have to wait, in a thread."""

import threading

import psycopg2


class Session(threading.Thread):
    """One statement in a thread, in a session that may have begun before; it may have to wait."""

    def __init__(self, connection, statement: str):
        super().__init__(daemon=True)
        self.connection, self.statement = connection, statement
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(self.statement)
        except psycopg2.Error as error:
            self.error = error

    def end(self) -> Exception | None:
        self.join(20)
        assert not self.is_alive(), f"still waiting: {self.statement}"
        return self.error
