CREATE TABLE workspaces (
    id text NOT NULL PRIMARY KEY,
    owner_id text NOT NULL REFERENCES users (id),
    name text NOT NULL,
    UNIQUE (owner_id, name)
);
