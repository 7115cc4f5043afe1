"""The maintained list of browser and device families that are programs, not people.

Families are written as ua-parser (https://github.com/ua-parser/uap-core) writes them, since that is what enriched
clicks carry; a click's browser or device must equal one of them, letter for letter. ua-parser gives most crawlers the
device `Spider`, whatever their browser. The others that are listed are crawlers by name, headless browsers, HTTP
libraries and tools, and services that watch sites.

Not listed are libraries that apps for people use to send their clicks, such as `okhttp` and `CFNetwork`.
`DATACO_BOT_AGENTS` adds families of one's own. A change of the list changes results: it goes into the changelog.
"""

from typing import Final

AGENTS: Final = (
    # Any crawler, as a device.
    "Spider",
    # Crawlers of search engines, social networks and archives.
    *("AdsBot-Google", "Applebot", "Baiduspider", "bingbot", "BingPreview", "DuckDuckBot", "FacebookBot", "Googlebot"),
    *("Googlebot-Image", "GoogleOther", "Google-InspectionTool", "heritrix", "ia_archiver", "LinkedInBot"),
    *("Mediapartners-Google", "msnbot", "PetalBot", "Pinterestbot", "Slackbot-LinkExpanding", "Slurp", "Twitterbot"),
    *("Yahoo! Slurp", "YandexBot", "YandexImages", "YandexMobileBot", "Yeti"),
    # Crawlers that collect texts for language models, and those that sell what they found.
    *("AhrefsBot", "Amazonbot", "Bytespider", "CCBot", "ChatGPT-User", "ClaudeBot", "DotBot", "GPTBot", "MJ12bot"),
    *("OAI-SearchBot", "PerplexityBot", "SemrushBot"),
    # Browsers without a window.
    *("Camoufox", "HeadlessChrome", "PhantomJS"),
    # Libraries and tools.
    *("Apache-HttpClient", "axios", "curl", "Go-http-client", "Google-HTTP-Java-Client", "HTTPie", "libwww-perl"),
    *("Nutch", "PostmanRuntime", "Python aiohttp", "Python Requests", "Python-urllib", "reqwest", "Scrapy", "Wget"),
    # Services that watch sites.
    *("Catchpoint", "Catchpoint bot", "NewRelicPingerBot", "PingdomBot", "Ruxit Synthetic", "StatusCakeBot"),
    *("UptimeRobot", "WebPageTest.org bot"),
)
"""Each browser or device family of a bot."""
