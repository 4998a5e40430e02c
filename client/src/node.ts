/**
 * What is there for Node only: storage in a folder.
 *
 * @packageDocumentation
 */

export { FileStorage } from './storage/file.js';
