project = "Sphinx"
html_theme = "alabaster"
