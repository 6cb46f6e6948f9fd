-- Which items are held by a run that has ended, or that works on something else?
SELECT
    item.id AS item_id,
    'is held by run ' || item.claimed_by_id || ', which ' || CASE
        WHEN steprun.status IS NULL THEN 'is not recorded'
        WHEN steprun.status <> 'running' THEN 'has ' || steprun.status
        ELSE 'works on something else'
    END AS what
FROM item
LEFT JOIN steprun ON steprun.id = item.claimed_by_id
WHERE
    item.claimed_by_id IS NOT NULL
    AND (steprun.status IS NULL OR steprun.status <> 'running' OR COALESCE(steprun.item_id, 0) <> item.id)
