-- The log of events that every channel shares: `room:<id>`, `kitchen`, `table:<session>`, `user:<id>`, `menu`.
-- The offset of a channel is a row, never a sequence: a transaction that rolls back gives its offset back, so that there
-- are no gaps, and the row's lock lets writers of one channel in one after the other, so that offsets become visible in order.
CREATE TABLE channels (
    name       text PRIMARY KEY CHECK (length(name) <= 128),
    top        bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE stream_events (
    channel    text   NOT NULL,
    off        bigint NOT NULL,
    type       text   NOT NULL,
    data       jsonb  NOT NULL,
    actor      uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel, off)
);
CREATE INDEX stream_events_age ON stream_events USING brin (created_at);

-- What still has to be published: pointers, deleted once that is done. Nobody keeps a cursor over `id`, because ids
-- become visible out of order.
CREATE TABLE outbox (
    id         bigserial PRIMARY KEY,
    channel    text   NOT NULL,
    off        bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Called inside the transaction of the change it tells of, as its last statement: the channel stays locked until the end.
CREATE FUNCTION append_event(p_channel text, p_type text, p_data jsonb, p_actor uuid, OUT o_off bigint, OUT o_pointer bigint)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO channels AS c (name, top) VALUES (p_channel, 1)
        ON CONFLICT (name) DO UPDATE SET top = c.top + 1, updated_at = now() RETURNING top INTO o_off;
    INSERT INTO stream_events (channel, off, type, data, actor) VALUES (p_channel, o_off, p_type, p_data, p_actor);
    INSERT INTO outbox (channel, off) VALUES (p_channel, o_off) RETURNING id INTO o_pointer;
END $$;

-- Answers to requests with an `Idempotency-Key`, written by the transaction of the request itself.
CREATE TABLE idempotency_keys (
    scope          text  NOT NULL,
    key            text  NOT NULL,
    request_sha256 bytea NOT NULL,
    status         int   NOT NULL,
    response       jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys USING brin (created_at);
