-- What the chatbot knows beside the menu, in passages that it can cite, and what it was asked.
CREATE TABLE kb_chunks (
    id     uuid PRIMARY KEY,
    source text NOT NULL,
    ord    int  NOT NULL,
    title  text NOT NULL,
    body   text NOT NULL,
    search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', body), 'B')
    ) STORED,
    embedding       vector(384),
    embedding_model text,
    UNIQUE (source, ord),
    CHECK ((embedding IS NULL) = (embedding_model IS NULL))
);
CREATE INDEX kb_chunks_search ON kb_chunks USING gin (search);

CREATE TABLE chatbot_sessions (
    id         uuid PRIMARY KEY,
    -- A person's id or a table session's, whoever began it.
    owner      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE chatbot_turns (
    session_id uuid NOT NULL REFERENCES chatbot_sessions ON DELETE CASCADE,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    role       text NOT NULL CHECK (role IN ('user', 'assistant')),
    content    text NOT NULL,
    citations  jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, id)
);
