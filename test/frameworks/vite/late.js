import './late.css';

export async function greet() {
  const { sub } = await (await fetch('/api/me')).json();
  return sub;
}
