"""The recorded cases of the HTTP routes, and what plays them: a real gateway, asked over HTTP."""
