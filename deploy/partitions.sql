-- Spread the log over partitions by stream, for a PostgreSQL on which one table of records has become unwieldy
-- (vacuum, backups, indexes that no longer fit into memory):
--
--     psql -v ON_ERROR_STOP=1 -f deploy/partitions.sql "$FITAI_DATABASE_URL"
--
-- Nodes may go on running. While this runs they answer pushes with "later" (some minutes for each hundred
-- million records), and it needs room for a second copy of the log. Every query of FitAI names the stream, so
-- each reads one partition; tests/persistence/test_paths.py holds that. How many partitions is your choice; it
-- can not be changed later without copying again.

BEGIN;
SET LOCAL lock_timeout = 0;
SET LOCAL statement_timeout = 0;

LOCK TABLE records IN ACCESS EXCLUSIVE MODE;
ALTER TABLE records RENAME TO records_whole;
CREATE TABLE records (LIKE records_whole) PARTITION BY HASH (stream);
DO $$
DECLARE
    partitions CONSTANT integer := 16;
BEGIN
    FOR i IN 0..partitions - 1 LOOP
        EXECUTE format(
            'CREATE TABLE records_%s PARTITION OF records FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
            i, partitions, i
        );
    END LOOP;
END $$;
INSERT INTO records SELECT * FROM records_whole;
DROP TABLE records_whole;

ALTER TABLE records
    ADD CONSTRAINT pk_records PRIMARY KEY (stream, seq),
    ADD CONSTRAINT uq_records_stream_device_n UNIQUE (stream, device, n),
    ADD CONSTRAINT uq_records_stream_workout_rev UNIQUE (stream, workout, rev);
CREATE INDEX ix_records_void ON records (stream, verdict, seq) WHERE verdict = 'void';
COMMIT;

ANALYZE records;
