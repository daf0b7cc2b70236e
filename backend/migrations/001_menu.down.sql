DROP TABLE products, categories, app_meta;
DROP EXTENSION vector;
