// Writes the files beside it: small vocabularies, lines, and what Hugging Face's tokenizers make of the lines.
// Run it with Node.js where the npm package "tokenizers" (version 0.23.2) is installed: node generate.mjs
// families.json is written by hand: what the tokenizer.json of a family has, and its added tokens with their flags.
// SHOW=17 prints the ids of line 17 for every family.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const { Tokenizer } = createRequire(`${process.cwd()}/`)('tokenizers');
const here = name => new URL(name, import.meta.url);
const read = name => JSON.parse(fs.readFileSync(here(name), 'utf8'));

const words = [
  'the', 'The', "we'll", "I'm", "DON'T", "it's", "'s", "''re", "x'd", "He'\u017F", '\u212Aelvin', 'café', 'naïve', 'Straße', 'Ελλάδα',
  'Привет', 'мир', 'שלום', 'مرحبا', 'नमस्ते', 'สวัสดี', '你好世界', 'こんにちは', 'カタカナ', '한국어', 'ქართული', 'አማርኛ', 'Tiếng', 'e\u0301\u0323',
  'A\u030A', '\u1100\u1161', '\u2126', '\u01C4\u01C5\u01C6', 'HTMLParser', 'camelCaseWord', "McDonald'S", "iPhone'll", '𝐀𝐁𝐜', '𐍈𐌰',
  '𠀀𠀁', '𝟘𝟙𝟚', '𐄇𐄈', '①②', 'Ⅷ', '½', '٣٤٥', '१२', '1234567', '3.14', '0x1F', '20,000', '😀', '👩‍👩‍👧', '🇩🇪', '❤️', '…', '—',
  '“quoted”', '€100', '±', '\u00AD', '\u200B', '\uFEFF', '\uFFFD', '\uE000', '\u{10FFFF}', 'if(x==1){return;}', 'foo_bar->baz', '\\n\\t',
  '[[[', '=====', '/*--*/', '#!/bin/sh', '{{ m }}', '</div>', '<h1>', 'http://a.b/c?d=e&f=1#g', '// x/', '\u0000', '\u0001\u0002',
  '\u001b[31m', '\u007f', '\u0085', '\u001c', '▁', '▁a', '<0x0A>', '_x_', 'mirword', 'xmirword', 'миры', 'def f(x):', 'return', '|', '\u3000。',
];
const special = ['<s>', '</s>', '<unk>', '<|end|>', '<|user|>', '<tool>', '<n>', '[INST]', '<|end', 'end|>'];
const gaps = [
  ' ', ' ', ' ', ' ', '  ', '   ', '\n', '\n\n', '\r\n', '\t', ' \n ', '\u00a0', '\u3000', '\u2003 ', '\v\f', '', '', ' \t \n\n  ',
  '\n\n\n\n', '        ', '/\n',
];

function makeLines(count, seed, added) {
  let state = seed;
  const next = limit => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * limit);
  };
  const pick = choices => choices[next(choices.length)];
  const character = () => {
    const value = next(pick([0x80, 0x250, 0x3000, 0x10000, 0x20000, 0x30000]));
    return value >= 0xD800 && value < 0xE000 ? '?' : String.fromCodePoint(value);
  };
  return Array.from({ length: count }, () => {
    let line = '';
    for (let i = next(12); i > 0; i--) {
      line += pick(gaps);
      const kind = next(12);
      if (kind < 2) for (let k = next(5); k >= 0; k--) line += character();
      else line += pick(kind === 2 ? added : words);
    }
    return line + pick(gaps);
  });
}

// Without any cuts, so that merges cross words, digits and lines, and every cut of a family shows in its ids.
function train(lines, vocabulary, merges, mergeCount) {
  const texts = lines.map(line => [...line]);
  for (let round = 0; round < mergeCount; round++) {
    const counts = new Map();
    for (const text of texts) {
      for (let i = 0; i + 1 < text.length; i++) {
        if (!(text[i] in vocabulary && text[i + 1] in vocabulary)) continue;
        const pair = text[i] + '\t' + text[i + 1];
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    let best = null;
    for (const [pair, count] of counts) {
      if (!(pair.replace('\t', '') in vocabulary) && count > (best?.[1] ?? 2)) best = [pair, count];
    }
    if (!best) break;
    const [left, right] = best[0].split('\t');
    vocabulary[left + right] = Object.keys(vocabulary).length;
    merges.push([left, right]);
    for (let t = 0; t < texts.length; t++) {
      const merged = [];
      for (const symbol of texts[t]) {
        if (symbol === right && merged.at(-1) === left) merged[merged.length - 1] = left + right;
        else merged.push(symbol);
      }
      texts[t] = merged;
    }
  }
}

const corpus = makeLines(700, 1, words);

const byteOf = [...Array(256).keys()];
const isPrintable = value => (value > 32 && value < 127) || (value > 160 && value !== 173);
const others = byteOf.filter(value => !isPrintable(value));
const standIn = byteOf.map(value => String.fromCharCode(isPrintable(value) ? value : 256 + others.indexOf(value)));
const byteLevel = { vocab: Object.fromEntries(standIn.map((token, id) => [token, id])), merges: [] };
train(corpus.map(line => [...Buffer.from(line)].map(value => standIn[value]).join('')), byteLevel.vocab, byteLevel.merges, 1200);

const names = ['<unk>', '<s>', '</s>', ...byteOf.map(value => `<0x${value.toString(16).toUpperCase().padStart(2, '0')}>`)];
const marked = corpus.map(line => '▁' + line.replaceAll(' ', '▁').replaceAll('\t', '\n'));
const counts = new Map();
for (const character of marked.join('')) counts.set(character, (counts.get(character) ?? 0) + 1);
const characters = [...counts].filter(([, count]) => count > 1).map(([character]) => character);
const sentencePiece = { vocab: Object.fromEntries([...names, ...characters].map((token, id) => [token, id])), merges: [] };
train(marked, sentencePiece.vocab, sentencePiece.merges, 1200);

const models = { byteLevel, sentencePiece };
const lines = makeLines(2000, 2, special);
const expected = {};

// One 32-bit FNV-1a hash over both lists of ids: added tokens recognised, and taken as text.
function hash(lists) {
  let value = 0x811C9DC5;
  for (const list of lists) {
    for (const id of [...list, 0xFFFFFFFF]) {
      for (let shift = 0; shift < 32; shift += 8) value = Math.imul(value ^ ((id >>> shift) & 0xFF), 0x01000193) >>> 0;
    }
  }
  return value;
}

for (const [name, { base, model, added, ...rest }] of Object.entries(read('families.json'))) {
  const vocab = models[base].vocab;
  let nextId = Object.keys(vocab).length;
  const tokens = added.map(([content, flags]) => ({
    id: vocab[content] ?? nextId++, content, special: !flags.includes('ordinary'),
    ...Object.fromEntries(['lstrip', 'rstrip', 'single_word', 'normalized'].map(flag => [flag, flags.includes(flag)])),
  }));
  const json = { version: '1.0', ...rest, post_processor: null, added_tokens: tokens, model: { type: 'BPE', ...model, ...models[base] } };
  const tokenizer = Tokenizer.fromString(JSON.stringify(json));
  const plain = Tokenizer.fromString(JSON.stringify({ ...json, added_tokens: [] }));
  const hashes = new Uint32Array(lines.length);
  const encode = async (with_, line) => (await with_.encode(line, null, { addSpecialTokens: false })).getIds();
  for (let i = 0; i < lines.length; i++) hashes[i] = hash([await encode(tokenizer, lines[i]), await encode(plain, lines[i])]);
  expected[name] = Buffer.from(hashes.buffer).toString('base64');
  if (process.env.SHOW) console.log(name, JSON.stringify(await encode(tokenizer, lines[+process.env.SHOW])));
}

fs.writeFileSync(here('models.json'), JSON.stringify(models));
fs.writeFileSync(here('lines.json'), JSON.stringify(lines, null, 0));
fs.writeFileSync(here('expected.json'), JSON.stringify(expected, null, 1) + '\n');
