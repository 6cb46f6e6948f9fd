-- Which changes of state were not made by a run that succeeded, nor are they the error state of one that failed?
SELECT
    change.item_id AS item_id,
    'change ' || change.count || ', to ' || COALESCE(state.name, 'no known state') || ', was made by run '
    || change.steprun_id || ', which is ' || COALESCE(steprun.status, 'not recorded') AS what
FROM statechange AS change
LEFT JOIN state ON state.id = change.nw_state_id
LEFT JOIN steprun ON steprun.id = change.steprun_id
WHERE
    steprun.status IS NULL
    OR NOT (
        steprun.status = 'succeeded'
        OR (steprun.status = 'failed' AND change.count > 1 AND COALESCE(state.is_error, FALSE))
    )
