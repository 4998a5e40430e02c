// Says how each test went in the words of Rust's test programs, so that `cargo xtask` can read it.

const verdicts = { pass: 0, fail: 0, skip: 0 };

export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type === 'test:stderr' || type === 'test:stdout') yield data.message;
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    // A file is no test.
    if (data.details.type === 'suite' || data.name.endsWith('.mjs')) {
      if (type === 'test:fail' && data.name.endsWith('.mjs')) yield* failed(data);
      continue;
    }
    const reason = data.skip ?? data.todo;
    if (reason !== undefined) {
      verdicts.skip += 1;
      yield `test client::${data.name} ... ignored, ${reason}\n`;
    } else if (type === 'test:pass') {
      verdicts.pass += 1;
      yield `test client::${data.name} ... ok\n`;
    } else {
      yield* failed(data);
    }
  }
  const { pass, fail, skip } = verdicts;
  const outcome = fail === 0 ? 'ok' : 'FAILED';
  yield `\ntest result: ${outcome}. ${pass} passed; ${fail} failed; ${skip} ignored\n`;
}

function* failed({ name, details }) {
  verdicts.fail += 1;
  const error = details.error?.cause ?? details.error;
  yield `test client::${name} ... FAILED\n${error?.stack ?? error}\n`;
}
