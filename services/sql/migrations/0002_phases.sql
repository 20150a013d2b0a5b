-- A node is more than a member or none: its phase takes the place of "serving".
ALTER TABLE unison.node ADD COLUMN phase text NOT NULL DEFAULT 'joining';
UPDATE unison.node SET phase = 'serving' WHERE serving;
ALTER TABLE unison.node DROP COLUMN serving;
