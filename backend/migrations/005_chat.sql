-- Rooms, messages, files and notifications.
CREATE TABLE files (
    id            uuid PRIMARY KEY,
    owner_id      uuid   NOT NULL REFERENCES users ON DELETE CASCADE,
    sha256        bytea  NOT NULL,
    size_bytes    bigint NOT NULL CHECK (size_bytes > 0),
    mime          text   NOT NULL,
    original_name text   NOT NULL CHECK (length(original_name) <= 255),
    storage_key   text   NOT NULL UNIQUE,
    created_at    timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE products ADD COLUMN image_file_id uuid REFERENCES files ON DELETE SET NULL;

CREATE TABLE rooms (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('public', 'private', 'direct')),
    name       text CHECK (length(name) BETWEEN 1 AND 80),
    -- The two people of a direct room, the smaller id first: there is one such room for a pair.
    direct_key text UNIQUE,
    created_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'direct') = (direct_key IS NOT NULL)),
    CHECK ((kind = 'direct') = (name IS NULL))
);

CREATE TABLE room_members (
    room_id       uuid NOT NULL REFERENCES rooms ON DELETE CASCADE,
    user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role          text NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'member')),
    joined_at     timestamptz NOT NULL DEFAULT now(),
    last_read_off bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX room_members_of_user ON room_members (user_id);

CREATE TABLE messages (
    room_id       uuid   NOT NULL REFERENCES rooms ON DELETE CASCADE,
    -- The offset of the event that told of it.
    off           bigint NOT NULL,
    id            uuid   NOT NULL UNIQUE,
    sender_id     uuid   NOT NULL REFERENCES users ON DELETE CASCADE,
    client_msg_id uuid   NOT NULL,
    body          text   NOT NULL CHECK (length(body) <= 8000),
    file_id       uuid REFERENCES files ON DELETE SET NULL,
    reply_to      uuid REFERENCES messages (id) ON DELETE SET NULL,
    edited_at     timestamptz,
    deleted_at    timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room_id, off),
    UNIQUE (room_id, sender_id, client_msg_id)
);

CREATE TABLE notifications (
    id         uuid PRIMARY KEY,
    user_id    uuid  NOT NULL REFERENCES users ON DELETE CASCADE,
    kind       text  NOT NULL,
    payload    jsonb NOT NULL,
    read_at    timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notifications_newest ON notifications (user_id, created_at DESC, id DESC);
CREATE INDEX notifications_unread ON notifications (user_id, created_at DESC) WHERE read_at IS NULL;

-- Sends a message once: the channel's row is locked before the look for an earlier attempt, so that of two attempts at the
-- same time the second sees the first.
CREATE FUNCTION send_message(
    p_room uuid, p_sender uuid, p_client_msg_id uuid, p_id uuid, p_body text, p_file uuid, p_reply_to uuid,
    OUT o_off bigint, OUT o_duplicate boolean, OUT o_pointer bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_channel text := 'room:' || p_room;
BEGIN
    INSERT INTO channels (name) VALUES (v_channel) ON CONFLICT (name) DO NOTHING;
    PERFORM 1 FROM channels WHERE name = v_channel FOR UPDATE;
    SELECT off INTO o_off FROM messages
        WHERE room_id = p_room AND sender_id = p_sender AND client_msg_id = p_client_msg_id;
    o_duplicate := FOUND;
    IF o_duplicate THEN
        RETURN;
    END IF;
    SELECT e.o_off, e.o_pointer INTO o_off, o_pointer FROM append_event(
        v_channel, 'message.created',
        jsonb_build_object('id', p_id, 'sender_id', p_sender, 'client_msg_id', p_client_msg_id, 'body', p_body,
                           'file_id', p_file, 'reply_to', p_reply_to),
        p_sender) e;
    INSERT INTO messages (room_id, off, id, sender_id, client_msg_id, body, file_id, reply_to)
        VALUES (p_room, o_off, p_id, p_sender, p_client_msg_id, p_body, p_file, p_reply_to);
END $$;
