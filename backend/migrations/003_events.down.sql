DROP FUNCTION append_event;
DROP TABLE idempotency_keys, outbox, stream_events, channels;
