-- Who may sign in, and the refresh tokens that keep them signed in.
CREATE TABLE users (
    id            uuid PRIMARY KEY,
    email         text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    display_name  text NOT NULL CHECK (length(display_name) BETWEEN 1 AND 80),
    password_hash text NOT NULL,
    role          text NOT NULL CHECK (role IN ('admin', 'manager', 'waiter', 'kitchen', 'member')),
    -- Counting it up makes every access token of this user void.
    token_version int  NOT NULL DEFAULT 0,
    disabled_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Only the hash of a token is kept. All tokens that descend from one sign-in are a family: one of them used twice means
-- that two parties have it, and the whole family is revoked.
CREATE TABLE refresh_tokens (
    id           uuid PRIMARY KEY,
    user_id      uuid  NOT NULL REFERENCES users ON DELETE CASCADE,
    family       uuid  NOT NULL,
    token_sha256 bytea NOT NULL UNIQUE,
    issued_at    timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);
