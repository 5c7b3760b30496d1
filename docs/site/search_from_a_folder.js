// Browsers start no worker from a file. There the search runs in a hidden frame instead,
// so that the site's folder can be read without a server and without a network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super();
      const here = new URL(script, location);
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      this.frame = frame;
      const inside = frame.contentWindow;
      // What a worker calls to answer.
      inside.postMessage = (data) =>
        setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })));
      inside.importScripts = (...scripts) =>
        scripts.reduce((before, next) => before.then(() => load(next)), Promise.resolve());
      const load = (source) =>
        new Promise((resolve, reject) => {
          const element = frame.contentDocument.createElement("script");
          element.src = new URL(source, here);
          element.onload = resolve;
          element.onerror = reject;
          frame.contentDocument.body.appendChild(element);
        });
      this.started = load(here);
    }

    postMessage(data) {
      this.started.then(() => {
        const inside = this.frame.contentWindow;
        inside.dispatchEvent(new inside.MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
