"""The page on which people see the site's traffic: `dataco dashboard`. It needs Elasticsearch alone.

What is asked for (`view.py`), the requests (`queries.py`) and what their answers come to (`figures.py`) are pure;
`reading.py` sends the requests; `page.py`, `charts.py` and `export.py` show the figures; `app.py` is the web server's.
"""
