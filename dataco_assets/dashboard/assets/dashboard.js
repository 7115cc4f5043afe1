/* What only the browser can do: say whether it is dark and how wide, and save a chart as a picture. */

(function () {
    "use strict";

    // plotly.js would load the outlines of a world map from a CDN, though ours has shapes of its own and shows no outlines.
    window.PlotlyGeoAssets = { topojson: { world_110m: {} } };

    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const narrow = window.matchMedia("(max-width: 640px)");

    function screen() {
        return { scheme: dark.matches ? "dark" : "light", narrow: narrow.matches };
    }

    function tell() {
        if (window.dash_clientside && window.dash_clientside.set_props && document.getElementById("page")) {
            window.dash_clientside.set_props("screen", { data: screen() });
            return;
        }
        window.setTimeout(tell, 20); // the page is not there yet
    }

    function save(id) {
        const chart = document.querySelector("#" + id + " .js-plotly-plot");
        if (chart && window.Plotly) {
            const size = { width: Math.max(chart.clientWidth, 600), height: chart.clientHeight };
            window.Plotly.downloadImage(chart, { format: "png", scale: 2, filename: "traffic-" + id, ...size });
        }
    }

    document.addEventListener("click", function (event) {
        const button = event.target.closest("[data-png]");
        if (button) {
            save(button.dataset.png);
        }
    });
    const titles = { "/trust": "Trust", "/operations": "Operations" };
    window.dash_clientside = window.dash_clientside || {};
    window.dash_clientside.page = {
        title: function (path) {
            document.title = (titles[path] || "Traffic") + " · DataCo";
        },
    };

    dark.addEventListener("change", tell);
    narrow.addEventListener("change", tell);
    tell();
})();
