"""Web servers' access logs as clicks.

One module a family of formats (`ncsa`, `json_lines`, `w3c`, `cloudfront`, `alb`), each a function from a line to a
`Request`; `formats` recognises which one a log is in, `compression` opens the file, and `clicks` makes clicks of
requests. docs/sources.md shows a line of each format and what becomes of it.

The parsers are our own. Of the libraries on PyPI, apachelogs is well kept and reads what Apache's `LogFormat` says, but
only lines that match it exactly: no fields after the last, no user agent that was cut off, and none of the formats that
are not Apache's. It checks our reading of Apache's in the tests. aws-log-parser and lars decode neither the URLs nor
the user agents of CloudFront and IIS, and the latter has had no release for years.
"""
