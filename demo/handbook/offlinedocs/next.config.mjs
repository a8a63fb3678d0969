import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

// Next.js writes the build's id into every page. A random one, its default, makes every page another
// at each build. Named by all but the text, builds that differ in text alone share their pages.
const makers = [
  ...readdirSync('pages').map((name) => `pages/${name}`).sort(),
  'next.config.mjs',
  'pnpm-lock.yaml',
  'styles.css',
];

export default {
  output: 'export',
  trailingSlash: true,
  reactStrictMode: true,
  generateBuildId: () => {
    const hash = createHash('sha256');
    makers.forEach((name) => hash.update(readFileSync(name)));
    return hash.digest('hex').slice(0, 16);
  },
};
