// Who the user is: `login` and `logout` of DDP.

import { Session, type SessionOptions } from './ddp/session.js';
import { isObject, type Json, type JsonObject } from './ejson.js';
import { UpdraftError } from './errors.js';

/** Who logs in, and by what. */
export interface Credentials {
  /** The id of the user. */
  user: string;
  /** The resume token. */
  token: string;
}

/** Logs in. Rejects with `wrong-user` if the token is another user's. */
export async function login(session: Session, { user, token }: Credentials): Promise<void> {
  const found = await ask(session, { resume: token });
  if (found.user !== user)
    throw new UpdraftError('wrong-user', 'the token is that of another user');
}

/** Asks a server who the user of these credentials is, over a connection of its own. */
export function identify(
  options: SessionOptions,
  parameters: JsonObject,
  signal: AbortSignal,
): Promise<Credentials> {
  return inShortSession(options, signal, (session) => ask(session, parameters));
}

/** Has the server forget a token. */
export function logout(options: SessionOptions, token: string, signal: AbortSignal): Promise<void> {
  return inShortSession(options, signal, async (session) => {
    await ask(session, { resume: token });
    await session.call('logout', []);
  });
}

async function ask(session: Session, parameters: JsonObject): Promise<Credentials> {
  const result: Json | undefined = await session.call('login', [parameters]);
  if (isObject(result) && typeof result['id'] === 'string' && typeof result['token'] === 'string') {
    return { user: result['id'], token: result['token'] };
  }
  throw new UpdraftError('bad-answer', 'the server has told no user');
}

/** Does something in a session of its own. It is done again if the connection is lost meanwhile. */
function inShortSession<Result>(
  options: SessionOptions,
  signal: AbortSignal,
  action: (session: Session) => Promise<Result>,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const session = new Session(options, {
      connected: () => {
        action(session).then(
          (result) => finish(() => resolve(result)),
          (error: unknown) => {
            const isLost = error instanceof UpdraftError && error.code === 'connection-lost';
            if (!isLost) finish(() => reject(error));
          },
        );
      },
      disconnected: () => {},
    });
    const finish = (settle: () => void) => {
      settle();
      session.stop();
    };
    signal.addEventListener('abort', () =>
      finish(() => reject(new UpdraftError('closed', 'the client is closed'))),
    );
  });
}
