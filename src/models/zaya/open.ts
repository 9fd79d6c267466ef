import { unmet } from '../../errors.js';
import { type Model, type OpenModelOptions, openModel } from '../runtime/model.js';
import type { ZayaConfig } from './config.js';

/** A loaded ZAYA model. */
export type ZayaModel = Model<ZayaConfig>;

/**
 * {@link openModel} of a ZAYA model, with its own configuration.
 *
 * @throws as that; `BAD_CONFIG` for a model of another family.
 */
export async function openZaya(path: string, options: OpenModelOptions = {}): Promise<ZayaModel> {
  const model = await openModel(path, options);
  if (isZaya(model)) return model;
  const { model_type } = model.config;
  model.close();
  throw unmet('BAD_CONFIG', 'openZaya', 'model_type zaya', `${model_type}: openModel opens every family`, {
    where: path,
  });
}

function isZaya(model: Model): model is ZayaModel {
  return model.config.model_type === 'zaya';
}
