# Somebody evaluates a server twice, and opens the report. In: data/synthetic.
client eval --split query --data data/synthetic --report report
client eval --split query --data data/synthetic --report report-2 --model qafm_fast --against report
client compare report report-2 --json compared.json
