-- Which runs are recorded as running on an item that they do not hold?
SELECT
    steprun.item_id AS item_id,
    'run ' || steprun.id || ' (' || steprun.step || ') works on it without holding it' AS what
FROM steprun
INNER JOIN item ON item.id = steprun.item_id
WHERE
    steprun.status = 'running'
    AND (item.claimed_by_id IS NULL OR item.claimed_by_id <> steprun.id)
