import Link from 'next/link';

export default function Missing() {
  return (
    <main>
      <h1>There is no such page</h1>
      <Link href="/">To the front page</Link>
    </main>
  );
}
