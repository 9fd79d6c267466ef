/** The script of pages and notebooks that show figures; bundled when the library is built. */
import { startFigures } from './figures.js';

startFigures();
