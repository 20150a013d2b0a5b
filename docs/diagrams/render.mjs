// Renders each NAME.d2 beside this file as NAME.light.svg and NAME.dark.svg: `make diagrams`.
// The argument is the directory that @terrastruct/d2 was installed into. The first comment of an SVG holds the SHA-256 of
// what it was made from; tests/unit/test_diagrams.py compares it, so that no picture is older than its text.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
// by path, because Node.js resolves packages only from where this file lies
const library = resolve(process.argv[2] ?? '.', 'node_modules/@terrastruct/d2/dist/node-esm/index.js');
const { D2 } = await import(pathToFileURL(library));

// N1 text .. N7 background; B1 lines, B4 to B6 fills of nodes; AA writers, AB readers
const SCHEMES = {
  light: {
    themeID: 0,
    colours: {
      N1: '#1f2328', N2: '#59636e', N3: '#59636e', N4: '#d1d9e0', N5: '#e6eaef', N6: '#f6f8fa', N7: '#ffffff',
      B1: '#2f5d8a', B2: '#2f5d8a', B3: '#c9ddf0', B4: '#dbe9f6', B5: '#e6f0f9', B6: '#f3f8fc',
      AA2: '#a8510f', AA4: '#fbe3cf', AA5: '#fdf0e4', AB4: '#2c7a4b', AB5: '#e3f4e9',
    },
  },
  dark: {
    themeID: 200,
    colours: {
      N1: '#e6edf3', N2: '#9aa4af', N3: '#9aa4af', N4: '#3d444d', N5: '#2a3038', N6: '#161b22', N7: '#0d1117',
      B1: '#79b8f0', B2: '#79b8f0', B3: '#26405c', B4: '#1d3650', B5: '#182c41', B6: '#121d2b',
      AA2: '#f0a35e', AA4: '#4a2d13', AA5: '#38230f', AB4: '#6fcf97', AB5: '#14321f',
    },
  },
};

const read = (name) => readFileSync(join(here, name), 'utf8');
const style = read('_style.d2');
const d2 = new D2();
for (const file of readdirSync(here).filter((name) => /^[^_].*\.d2$/.test(name)).sort()) {
  const name = file.slice(0, -'.d2'.length);
  const digest = createHash('sha256').update(read('render.mjs')).update(style).update(read(file)).digest('hex');
  for (const [scheme, { themeID, colours }] of Object.entries(SCHEMES)) {
    const overrides = Object.entries(colours).map(([key, value]) => `${key}: "${value}"`).join('; ');
    const source = `vars: {${overrides}; d2-config: {theme-overrides: {${overrides}}}}\n${style}\n${read(file)}`;
    const { diagram, renderOptions } = await d2.compile(source, { layout: 'elk' });
    const svg = await d2.render(diagram, { ...renderOptions, themeID, pad: 24, scale: 1, noXMLTag: true, center: true });
    writeFileSync(join(here, `${name}.${scheme}.svg`), `<!-- made by make diagrams from sha256 ${digest} -->\n${svg}\n`);
  }
  console.log(name);
}
process.exit(0);
