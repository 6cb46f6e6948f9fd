-- Which products name a parent that the run which made them did not read?
SELECT
    product.item_id AS item_id,
    'product ' || product.id || ' (' || product.path || ') names product ' || lineage.input_id
    || ' as its parent, but run ' || product.steprun_id || ' never read it' AS what
FROM lineage
INNER JOIN product ON product.id = lineage.output_id
LEFT JOIN stepinput
    ON stepinput.steprun_id = product.steprun_id AND stepinput.product_id = lineage.input_id
WHERE stepinput.product_id IS NULL
