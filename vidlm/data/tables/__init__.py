"""Tables and lists in the files people exchange, in any tool's dialect.

`reading.rows` gives the rows of a table, `texts.entries` the lines of a list,
`columns` knows what published files call theirs, `cells` what is in a cell.
"""
