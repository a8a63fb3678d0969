ALTER TABLE users ADD COLUMN status text NOT NULL DEFAULT 'active';

CREATE INDEX users_status ON users (status);
