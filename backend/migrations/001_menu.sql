-- The menu: categories and products, searchable by words (tsvector) and by likeness (pgvector).
CREATE EXTENSION IF NOT EXISTS vector;

-- 'epoch' names this life of the database: it changes when the data are thrown away, so that clients notice.
CREATE TABLE app_meta (
    key   text PRIMARY KEY,
    value text NOT NULL
);
INSERT INTO app_meta VALUES ('epoch', replace(gen_random_uuid()::text, '-', ''));

CREATE TABLE categories (
    id       uuid PRIMARY KEY,
    slug     text NOT NULL UNIQUE,
    name     text NOT NULL,
    position int  NOT NULL DEFAULT 0
);

CREATE TABLE products (
    id          uuid PRIMARY KEY,
    category_id uuid    NOT NULL REFERENCES categories,
    name        text    NOT NULL,
    description text    NOT NULL DEFAULT '',
    price_cents int     NOT NULL CHECK (price_cents >= 0),
    currency    char(3) NOT NULL DEFAULT 'EUR',
    allergens   text[]  NOT NULL DEFAULT '{}',
    tags        text[]  NOT NULL DEFAULT '{}',
    available   boolean NOT NULL DEFAULT true,
    version     int     NOT NULL DEFAULT 1,
    search      tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', name), 'A') || setweight(to_tsvector('english', description), 'B')
    ) STORED,
    -- Embeddings of different models cannot be compared, and are made anew only when their text has changed.
    embedding            vector(384),
    embedding_model      text,
    embedding_src_sha256 bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((embedding IS NULL) = (embedding_model IS NULL))
);
CREATE INDEX products_by_name ON products (name, id);
CREATE INDEX products_menu ON products (category_id, name, id) WHERE available;
CREATE INDEX products_search ON products USING gin (search);
CREATE INDEX products_tags ON products USING gin (tags);
CREATE INDEX products_embed_todo ON products (updated_at) WHERE embedding IS NULL;
-- No HNSW index: an exact scan of a menu takes less than a millisecond and finds everything.
