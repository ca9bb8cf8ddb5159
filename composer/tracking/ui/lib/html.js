// The one door to the vendored library: everything else imports from here.
export {
  html, render, createContext, useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback, useContext, Component,
} from "../vendor/htm-preact.js";
