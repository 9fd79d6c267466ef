export { type ErrorCode, type ErrorDetails, ZayascopeError } from './errors.js';
