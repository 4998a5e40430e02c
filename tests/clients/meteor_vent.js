// Vent for Meteor's own client, as redis-oplog's is: a classic script that finds `Meteor`, and leaves `Vent`.
//
// It looks at each message of the connection's stream before Meteor does, and takes those that begin as events do.
// Everything else goes by the connection itself, so that subscriptions come back after a cut as all others do.

globalThis.Vent = (() => {
  const EVENT = '{"msg":"changed","__vent":"1';
  const { Random } = Package.random;
  const { DDPCommon } = Package['ddp-common'];
  const listeners = new Map();

  Meteor.connection._stream.on('message', (text) => {
    if (text.slice(0, EVENT.length) !== EVENT) return;
    const { id, e } = DDPCommon.parseDDP(text);
    listeners.get(id)?.(e);
  });

  return {
    /** A subscription as Meteor's, with `listen`. */
    subscribe(name, ...params) {
      const vent = Random.id();
      const key = `${vent}.${name}`;
      const handle = Meteor.subscribe(name, vent, ...params);
      const stop = () => {
        listeners.delete(key);
        handle.stop();
      };
      return { ...handle, stop, listen: (f) => listeners.set(key, f) };
    },
  };
})();
