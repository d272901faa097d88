/** msgpackr ships this entry without types; it is the same API in a module instance of its own. */
declare module "msgpackr/index-no-eval" {
  export { addExtension, type Options, Packr, Unpackr } from "msgpackr";
}
