-- Which products were not made by a run that succeeded?
SELECT
    product.item_id AS item_id,
    'product ' || product.id || ' (' || product.path || ') was made by run ' || product.steprun_id
    || ', which is ' || COALESCE(steprun.status, 'not recorded') AS what
FROM product
LEFT JOIN steprun ON steprun.id = product.steprun_id
WHERE steprun.status IS NULL OR steprun.status <> 'succeeded'
