-- The tombstones' index holds the key and the version, so it takes a little less than the primary key does: a key between the two could be
-- inserted and never deleted. Refused when it is inserted, and while the table is set up for rows that are there.
ALTER TABLE {table} ADD CONSTRAINT unison_key_fits CHECK ({key_size} <= 2500);
