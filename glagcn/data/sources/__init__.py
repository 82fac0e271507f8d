"""Where poses come from: a folder for each published format, with its Sources and the DataSet values made of them."""
