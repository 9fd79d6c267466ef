import { Budget } from './budget.js';
import { attribute, slice, subscript } from './fields.js';
import { applyFilter } from './filters.js';
import { globals, spread } from './globals.js';
import { binary } from './operators.js';
import { toText } from './printing.js';
import { Scope } from './scope.js';
import { test } from './tests.js';
import {
  asNumber,
  Callable,
  Dict,
  Float,
  given,
  iterate,
  Namespace,
  TemplateFault,
  Tuple,
  truth,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** A node of the library's syntax tree, which names its kind in `type`. */
export interface Node {
  type: string;
  [field: string]: unknown;
}

const MAX_DEPTH = 400;

class LoopExit extends Error {
  readonly isBreak: boolean;
  constructor(isBreak: boolean) {
    super('outside a loop');
    this.isBreak = isBreak;
  }
}

/** Runs a parsed template as Jinja's immutable sandbox does, with the meaning that Python gives to values. */
export class Interpreter {
  readonly #budget = new Budget();
  readonly #context = {
    budget: this.#budget,
    field: (value: Value, name: Value): Value => subscript(value, name),
  };
  #depth = 0;

  /** Renders the body with these names. Throws a {@link TemplateFault}. */
  run(body: readonly Node[], names: Iterable<readonly [string, Value]>, now: Date): string {
    const scope = new Scope(undefined);
    for (const [name, value] of [...globals(this.#budget, now), ...names]) scope.set(name, value);
    try {
      return this.#body(body, scope);
    } catch (cause) {
      if (cause instanceof LoopExit) throw new TemplateFault('break or continue outside a loop');
      throw cause;
    }
  }

  #body(body: readonly Node[], scope: Scope): string {
    const parts: string[] = [];
    for (const node of body) parts.push(this.#budget.text(this.#statement(node, scope, parts)));
    return parts.join('');
  }

  /** Text of one node. `before`: what its body has made so far, which a loop that ends early keeps. */
  #statement(node: Node, scope: Scope, before: string[]): string {
    this.#budget.step();
    switch (node.type) {
      case 'Comment':
        return '';
      case 'If': {
        const { body, alternate } = node as unknown as { body: Node[]; alternate: Node[] };
        return this.#kept(truth(this.#value(node.test as Node, scope)) ? body : alternate, scope, before);
      }
      case 'For':
        return this.#loop(node, scope);
      case 'Set':
        this.#set(node, scope);
        return '';
      case 'Macro':
        scope.set((node.name as Node).value as string, this.#macro(node, scope));
        return '';
      case 'CallStatement':
        return this.#callBlock(node, scope);
      case 'FilterStatement':
        return toText(
          this.#filter(node.filter as Node, this.#body(node.body as Node[], new Scope(scope)), scope),
        );
      case 'Break':
        throw new LoopExit(true);
      case 'Continue':
        throw new LoopExit(false);
      default:
        return toText(this.#value(node, scope));
    }
  }

  /** Runs a body straight into what surrounds it, so that text before a `break` stays. */
  #kept(body: readonly Node[], scope: Scope, before: string[]): string {
    for (const node of body) before.push(this.#budget.text(this.#statement(node, scope, before)));
    return '';
  }

  #loop(node: Node, scope: Scope): string {
    const { loopvar, body, defaultBlock } = node as unknown as {
      loopvar: Node;
      body: Node[];
      defaultBlock: Node[];
    };
    let iterable = node.iterable as Node;
    let condition: Node | undefined;
    if (iterable.type === 'SelectExpression') {
      condition = iterable.test as Node;
      iterable = iterable.lhs as Node;
    }
    let items = iterate(this.#value(iterable, scope));
    if (condition !== undefined)
      items = items.filter((item) => {
        this.#budget.step();
        const inner = new Scope(scope);
        this.#assign(loopvar, item, inner);
        return truth(this.#value(condition, inner));
      });
    if (items.length === 0) return this.#body(defaultBlock, scope);
    const parts: string[] = [];
    const state = { changed: undefined as Value | undefined };
    for (const [at, item] of items.entries()) {
      this.#budget.step();
      const inner = new Scope(scope);
      inner.set('loop', loopFields(items, at, state));
      this.#assign(loopvar, item, inner);
      try {
        this.#kept(body, inner, parts);
      } catch (exit) {
        if (!(exit instanceof LoopExit)) throw exit;
        if (exit.isBreak) break;
      }
    }
    return parts.join('');
  }

  #set(node: Node, scope: Scope): void {
    const value =
      node.value === null || node.value === undefined
        ? this.#body(node.body as Node[], new Scope(scope))
        : this.#value(node.value as Node, scope);
    this.#assign(node.assignee as Node, value, scope);
  }

  #assign(target: Node, value: Value, scope: Scope): void {
    if (target.type === 'Identifier') scope.set(target.value as string, value);
    else if (target.type === 'TupleLiteral') {
      const names = target.value as Node[];
      const items = iterate(value);
      if (items.length !== names.length)
        throw new TemplateFault(`${items.length} values for ${names.length} names`);
      for (const [at, name] of names.entries()) this.#assign(name, items[at]!, scope);
    } else if (target.type === 'MemberExpression' && target.computed !== true) {
      const space = this.#value(target.object as Node, scope);
      if (!(space instanceof Namespace))
        throw new TemplateFault('cannot assign attribute on non-namespace object');
      space.fields.set((target.property as Node).value as string, value);
    } else throw new TemplateFault('an assignment to something other than a name');
  }

  #macro(node: Node, scope: Scope, parameters = node.args as Node[]): Callable {
    const name = ((node.name as Node | undefined)?.value as string | undefined) ?? 'caller';
    return new Callable(name, (args, named) => {
      const inner = new Scope(scope);
      const rest = new Map(named);
      const caller = rest.get('caller');
      if (caller !== undefined) inner.set('caller', caller);
      rest.delete('caller');
      if (args.length > parameters.length)
        throw new TemplateFault(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
      for (const [at, parameter] of parameters.entries()) {
        const hasDefault = parameter.type === 'KeywordArgumentExpression';
        const own = (hasDefault ? (parameter.key as Node) : parameter).value as string;
        const passed = given(args[at], rest.get(own));
        const absent = () =>
          hasDefault
            ? this.#value(parameter.value as Node, inner)
            : new Undefined(`parameter '${own}' was not provided`);
        inner.set(own, passed === undefined ? absent() : passed);
        rest.delete(own);
      }
      const [unknown] = rest.keys();
      if (unknown !== undefined)
        throw new TemplateFault(`macro '${name}' takes no keyword argument '${unknown}'`);
      return this.#deeper(() => this.#body(node.body as Node[], inner));
    });
  }

  #callBlock(node: Node, scope: Scope): string {
    const call = node.call as Node;
    const callee = this.#value(call.callee as Node, scope);
    const { args, named } = this.#arguments(call.args as Node[], scope);
    named.set('caller', this.#macro(node, scope, (node.callerArgs as Node[] | null) ?? []));
    return toText(this.#call(callee, args, named));
  }

  #arguments(nodes: readonly Node[], scope: Scope): { args: Value[]; named: Map<string, Value> } {
    const args: Value[] = [];
    const named = new Map<string, Value>();
    for (const node of nodes) {
      if (node.type === 'KeywordArgumentExpression')
        named.set((node.key as Node).value as string, this.#value(node.value as Node, scope));
      else if (node.type === 'SpreadExpression')
        args.push(...spread(this.#value(node.argument as Node, scope)));
      else if (node.type === 'KeywordSpreadExpression') {
        const dict = this.#value(node.argument as Node, scope);
        if (!(dict instanceof Dict))
          throw new TemplateFault(`argument after ** must be a mapping, not ${typeName(dict)}`);
        for (const [key, value] of dict.entries()) named.set(toText(key), value);
      } else args.push(this.#value(node, scope));
    }
    return { args, named };
  }

  #call(callee: Value, args: Value[], named: Map<string, Value>): Value {
    if (callee instanceof Undefined) throw new TemplateFault(`'${callee.name}' is undefined`);
    if (!(callee instanceof Callable))
      throw new TemplateFault(`'${typeName(callee)}' object is not callable`);
    const result = callee.call(args, named);
    if (typeof result === 'string') this.#budget.text(result);
    return result;
  }

  #filter(filter: Node, value: Value, scope: Scope): Value {
    const isCall = filter.type === 'CallExpression';
    const name = (isCall ? (filter.callee as Node) : filter) as Node;
    if (name.type !== 'Identifier') throw new TemplateFault('a filter that is no name');
    const { args, named } = this.#arguments(isCall ? (filter.args as Node[]) : [], scope);
    return applyFilter(name.value as string, value, args, named, this.#context);
  }

  #deeper<T>(use: () => T): T {
    if (++this.#depth > MAX_DEPTH)
      throw new TemplateFault(`calls and expressions nested deeper than ${MAX_DEPTH}`);
    try {
      return use();
    } finally {
      this.#depth--;
    }
  }

  #value(node: Node, scope: Scope): Value {
    this.#budget.step();
    return this.#deeper(() => this.#evaluate(node, scope));
  }

  #evaluate(node: Node, scope: Scope): Value {
    const value = (field: string): Value => this.#value(node[field] as Node, scope);
    switch (node.type) {
      case 'StringLiteral':
        return node.value as string;
      case 'IntegerLiteral':
        if (!Number.isSafeInteger(node.value))
          throw new TemplateFault('integers beyond 2^53 are not supported');
        return node.value as number;
      case 'FloatLiteral':
        return new Float(node.value as number);
      case 'ArrayLiteral':
        return (node.value as Node[]).map((item) => this.#value(item, scope));
      case 'TupleLiteral':
        return new Tuple((node.value as Node[]).map((item) => this.#value(item, scope)));
      case 'ObjectLiteral': {
        const dict = new Dict();
        for (const [key, item] of node.value as Map<Node, Node>)
          dict.set(this.#value(key, scope), this.#value(item, scope));
        return dict;
      }
      case 'Identifier':
        return scope.get(node.value as string);
      case 'MemberExpression':
        return this.#member(node, scope);
      case 'CallExpression': {
        const callee = value('callee');
        const { args, named } = this.#arguments(node.args as Node[], scope);
        return this.#call(callee, args, named);
      }
      case 'FilterExpression':
        return this.#filter(node.filter as Node, value('operand'), scope);
      case 'TestExpression':
        return (
          test((node.test as Node).value as string, value('operand'), [], this.#budget) !==
          (node.negate === true)
        );
      case 'Ternary':
        return truth(value('condition')) ? value('trueExpr') : value('falseExpr');
      case 'SelectExpression':
        return truth(value('test'))
          ? value('lhs')
          : new Undefined('the inline if-expression evaluated to false and no else section was defined.');
      case 'UnaryExpression':
        return unary((node.operator as Node).value as string, value('argument'));
      case 'BinaryExpression': {
        const operator = (node.operator as Node).value as string;
        const left = value('left');
        if (operator === 'and') return truth(left) ? value('right') : left;
        if (operator === 'or') return truth(left) ? left : value('right');
        return binary(operator, left, value('right'), this.#budget);
      }
      default:
        throw new TemplateFault(`${node.type} here is not supported`);
    }
  }

  #member(node: Node, scope: Scope): Value {
    const object = this.#value(node.object as Node, scope);
    const property = node.property as Node;
    if (node.computed !== true)
      return property.type === 'IntegerLiteral'
        ? subscript(object, property.value as number)
        : attribute(object, property.value as string);
    if (property.type !== 'SliceExpression') return subscript(object, this.#value(property, scope));
    const bounds = [property.start, property.stop, property.step].map((bound) =>
      bound === undefined ? undefined : this.#value(bound as Node, scope),
    );
    const part = slice(object, bounds);
    this.#budget.step(typeof part === 'string' ? part.length : iterate(part).length);
    return part;
  }
}

function unary(operator: string, value: Value): Value {
  if (operator === 'not') return !truth(value);
  const number = asNumber(value);
  if (number === undefined)
    throw new TemplateFault(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  const result = operator === '-' ? -number : number;
  return value instanceof Float ? new Float(result) : result === 0 ? 0 : result;
}

/** The `loop` of a loop's body. */
function loopFields(items: readonly Value[], at: number, state: { changed: Value | undefined }): Namespace {
  const loop = new Namespace();
  const set = (name: string, value: Value): unknown => loop.fields.set(name, value);
  set('index', at + 1);
  set('index0', at);
  set('revindex', items.length - at);
  set('revindex0', items.length - at - 1);
  set('first', at === 0);
  set('last', at === items.length - 1);
  set('length', items.length);
  // Only recursive loops, which are not supported, are deeper.
  set('depth', 1);
  set('depth0', 0);
  set('previtem', given(items[at - 1], new Undefined('there is no previous item')));
  set('nextitem', given(items[at + 1], new Undefined('there is no next item')));
  set(
    'cycle',
    new Callable('cycle', (args) => {
      if (args.length === 0) throw new TemplateFault('no items for cycling given');
      return args[at % args.length]!;
    }),
  );
  set(
    'changed',
    new Callable('changed', (args) => {
      const now = new Tuple(args);
      const isSame = state.changed !== undefined && binary('==', state.changed, now, new Budget()) === true;
      state.changed = now;
      return !isSame;
    }),
  );
  return loop;
}
