DROP TABLE order_items, orders, table_sessions, dining_tables;
