// EJSON, which is how DDP writes values that JSON lacks: dates, bytes, patterns, infinities.

/** A value of JSON. */
export type Json = null | boolean | number | string | Json[] | JsonObject;

/** An object of JSON. */
export interface JsonObject {
  [name: string]: Json;
}

/** A value of a type that is registered on the server, such as `oid`. It is passed on as it is. */
export class Typed {
  /** The name of the type. */
  readonly type: string;
  /** The value, as the type writes it. */
  readonly value: Json;

  constructor(type: string, value: Json) {
    this.type = type;
    this.value = value;
  }
}

/**
 * Writes a value as EJSON. Members that are `undefined` or functions are left out.
 *
 * @throws TypeError for what EJSON cannot write, such as a `bigint`, and RangeError for a circle.
 */
export function toEjson(value: unknown): Json {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value)
        ? value
        : { $InfNaN: Number.isNaN(value) ? 0 : Math.sign(value) };
    case 'undefined':
      return null;
    case 'object':
      return value === null ? null : objectToEjson(value);
    default:
      throw new TypeError(`EJSON has no ${typeof value}`);
  }
}

/** Reads EJSON. What is not understood is left as it is. */
export function fromEjson(json: Json): unknown {
  if (json === null || typeof json !== 'object') return json;
  if (Array.isArray(json)) return json.map(fromEjson);
  return special(json) ?? mapMembers(json, fromEjson);
}

function objectToEjson(value: object): Json {
  if (Array.isArray(value)) return value.map(toEjson);
  if (value instanceof Date)
    return { $date: Number.isNaN(value.getTime()) ? null : value.getTime() };
  if (value instanceof RegExp) return { $regexp: value.source, $flags: value.flags };
  if (value instanceof Uint8Array) return { $binary: toBase64(value) };
  if (value instanceof Typed) return { $type: value.type, $value: value.value };
  const members = Object.entries(value).filter(
    ([, member]) => member !== undefined && typeof member !== 'function',
  );
  const object = mapMembers(Object.fromEntries(members), toEjson);
  return kindOf(object) === undefined ? object : { $escape: object };
}

/** The value of an object that stands for something; `undefined` if it stands for itself. */
function special(json: JsonObject): unknown {
  switch (kindOf(json)) {
    case '$date':
      return new Date(json['$date'] === null ? NaN : Number(json['$date']));
    case '$InfNaN':
      return json['$InfNaN'] === 0 ? NaN : Number(json['$InfNaN']) * Infinity;
    case '$binary':
      return fromBase64(json['$binary']);
    case '$regexp':
      return pattern(json['$regexp'], json['$flags']);
    case '$type':
      return new Typed(String(json['$type']), json['$value'] ?? null);
    case '$escape': {
      const inner = json['$escape'];
      return isObject(inner) ? mapMembers(inner, fromEjson) : undefined;
    }
    default:
      return undefined;
  }
}

/** The member that says what an object stands for. */
function kindOf(json: JsonObject): string | undefined {
  const names = Object.keys(json).sort().join(' ');
  switch (names) {
    case '$date':
    case '$InfNaN':
    case '$binary':
    case '$escape':
      return names;
    case '$flags $regexp':
      return '$regexp';
    case '$type $value':
      return '$type';
    default:
      return undefined;
  }
}

function pattern(source: Json | undefined, flags: Json | undefined): RegExp | undefined {
  try {
    return new RegExp(
      String(source),
      String(flags)
        .slice(0, 50)
        .replace(/[^gimuy]/g, ''),
    );
  } catch {
    return undefined;
  }
}

function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function fromBase64(text: Json | undefined): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(String(text)), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** Whether a value is an object of JSON, and no array. */
export function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

/** An object with the same names. A member named `__proto__` is a member like any other. */
function mapMembers<From, To>(
  object: { [name: string]: From },
  f: (member: From) => To,
): { [name: string]: To } {
  return Object.fromEntries(Object.entries(object).map(([name, member]) => [name, f(member)]));
}
