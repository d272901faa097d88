/** How answers are printed. Apart from the printer, so that reading the arguments loads no client. */

/** A line or lines for people, a line for programs, or the body alone. */
export const ANSWER_FORMATS = ["human", "json", "bytes"] as const;

/** One of ANSWER_FORMATS. */
export type AnswerFormat = (typeof ANSWER_FORMATS)[number];
