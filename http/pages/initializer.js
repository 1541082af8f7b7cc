// Relative to this file, so that it holds under /v1 and behind a proxy's path too.
const documentUrl = new URL("../../openapi.json", document.currentScript.src).href;

window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: documentUrl,
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    filter: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
  });
});
