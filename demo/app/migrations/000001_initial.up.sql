CREATE TABLE site_configs (
    key text NOT NULL PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE users (
    id text NOT NULL PRIMARY KEY,
    email text NOT NULL UNIQUE,
    username text NOT NULL UNIQUE,
    created_at text NOT NULL DEFAULT CURRENT_TIMESTAMP
);
