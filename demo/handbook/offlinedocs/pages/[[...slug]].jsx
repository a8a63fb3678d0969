import { readFileSync } from 'fs';
import path from 'path';
import Head from 'next/head';
import Link from 'next/link';
import ReactMarkdown from 'react-markdown';
import remarkGfm from 'remark-gfm';

const read = (name) => readFileSync(path.join(process.cwd(), '..', 'docs', name), 'utf8');

/** `./guide/index.md` is served at `/guide/`, `./guide/start.md` at `/guide/start/`. */
const address = (file) => {
  const inner = file.replace(/^\.\//, '').replace(/\.md$/, '').replace(/(^|\/)index$/, '');
  return inner ? `/${inner}/` : '/';
};

const flat = (routes) => routes.flatMap((route) => [route, ...flat(route.children ?? [])]);

const routes = () => JSON.parse(read('manifest.json')).routes;

export const getStaticPaths = () => ({
  paths: flat(routes()).map(({ path: file }) => ({
    params: { slug: address(file).split('/').filter(Boolean) },
  })),
  fallback: false,
});

export const getStaticProps = ({ params }) => {
  const here = params.slug ? `/${params.slug.join('/')}/` : '/';
  const { path: file, title } = flat(routes()).find((route) => address(route.path) === here);
  const navigation = routes().map(({ title, path: file, children = [] }) => ({
    title,
    href: address(file),
    children: children.map((child) => ({ title: child.title, href: address(child.path) })),
  }));
  return { props: { file, here, navigation, text: read(file), title } };
};

const Navigation = ({ here, navigation }) => (
  <nav>
    <Link href="/">
      <img src="/logo.svg" alt="Handbook" width="120" height="32" />
    </Link>
    <ul>
      {navigation.map(({ title, href, children }) => (
        <li key={href}>
          <Link href={href} aria-current={here === href ? 'page' : undefined}>
            {title}
          </Link>
          {(href === '/' ? here === '/' : here.startsWith(href)) && (
            <ul>
              {children.map((child) => (
                <li key={child.href}>
                  <Link href={child.href} aria-current={here === child.href ? 'page' : undefined}>
                    {child.title}
                  </Link>
                </li>
              ))}
            </ul>
          )}
        </li>
      ))}
    </ul>
  </nav>
);

/** A link between two files of the tree becomes a link between their pages. */
const linked = (file) => (url) =>
  /^([a-z]+:|#|\/)/.test(url) ? url : address(path.posix.join(path.posix.dirname(file), url));

/** The images are served from one folder, wherever the page is. */
const pictured = (url) => `/images/${url.split('images/').pop()}`;

export default function Page({ file, here, navigation, text, title }) {
  return (
    <div className="page">
      <Head>
        <link rel="icon" href="/logo.svg" />
        <title>{`${title} | Handbook`}</title>
      </Head>
      <Navigation here={here} navigation={navigation} />
      <main>
        <ReactMarkdown
          remarkPlugins={[remarkGfm]}
          urlTransform={(url, key) => (key === 'src' ? pictured(url) : linked(file)(url))}
          components={{ a: ({ href, children }) => <Link href={href}>{children}</Link> }}
        >
          {text}
        </ReactMarkdown>
      </main>
    </div>
  );
}
