-- The tables of the restaurant, who sits at them, and what they order.
CREATE TABLE dining_tables (
    id            uuid PRIMARY KEY,
    number        int NOT NULL UNIQUE,
    seats         int NOT NULL CHECK (seats > 0),
    -- Counting it up makes every printed code of this table void.
    token_version int NOT NULL DEFAULT 1
);

CREATE TABLE table_sessions (
    id        uuid PRIMARY KEY,
    table_id  uuid NOT NULL REFERENCES dining_tables,
    waiter_id uuid REFERENCES users,
    guests    int  NOT NULL CHECK (guests > 0),
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
CREATE UNIQUE INDEX table_sessions_open ON table_sessions (table_id) WHERE closed_at IS NULL;

CREATE TABLE orders (
    id               uuid PRIMARY KEY,
    table_session_id uuid NOT NULL REFERENCES table_sessions,
    status           text NOT NULL DEFAULT 'received'
        CHECK (status IN ('received', 'preparing', 'ready', 'served', 'paid', 'cancelled')),
    placed_by        uuid REFERENCES users,
    total_cents      int  NOT NULL CHECK (total_cents >= 0),
    note             text NOT NULL DEFAULT '',
    version          int  NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_active ON orders (status, created_at) WHERE status IN ('received', 'preparing', 'ready');
CREATE INDEX orders_of_session ON orders (table_session_id);
CREATE INDEX orders_newest ON orders (created_at DESC, id DESC);

CREATE TABLE order_items (
    order_id         uuid NOT NULL REFERENCES orders ON DELETE CASCADE,
    line             int  NOT NULL,
    product_id       uuid NOT NULL REFERENCES products,
    qty              int  NOT NULL CHECK (qty BETWEEN 1 AND 99),
    -- The price of that day: products become dearer, old orders do not.
    unit_price_cents int  NOT NULL,
    note             text NOT NULL DEFAULT '',
    PRIMARY KEY (order_id, line)
);
CREATE INDEX order_items_of_product ON order_items (product_id);
