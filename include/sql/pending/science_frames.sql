-- Which science frames can be worked on now? Those that never failed come first, then the oldest: frames for which
-- a person must act first must not stand in the way of new ones.
-- They are on their way to be searched, and held by nobody. A measured frame whose field has no reference is left
-- out until there is one. A frame that waits for its masters is left out until a
-- master of its camera was finished (or given up) after the frame was last looked at, or until it has waited
-- long enough. It is the moments that count: the run that made the master may have begun before.
-- Frames that arrived before the moment waited_since (the parameter) have waited long enough.
SELECT item.id
FROM item
JOIN pawprint ON pawprint.id = item.id
JOIN state ON state.id = item.state_id
JOIN campaign ON campaign.id = pawprint.campaign_id
WHERE state.name IN ('raw_data', 'cleaned_data', 'preprocessed_data', 'failed_wcs_solve', 'failed_wcs_retry',
                     'wcs_solved', 'measured', 'differenced')
  AND item.claimed_by_id IS NULL
  AND (
      state.name != 'measured'
      OR EXISTS (
          SELECT 1
          FROM reference
          WHERE reference.field_id = pawprint.field_id
            AND COALESCE(reference.filter, '') = COALESCE(pawprint.filter, '')
            AND reference.valid_until IS NULL
      )
  )
  AND NOT EXISTS (
      SELECT 1
      FROM steprun AS wait
      WHERE wait.item_id = item.id
        AND wait.error_code = 'waiting_for_master'
        AND item.created_at > :waited_since
        AND wait.id = (SELECT MAX(last.id) FROM steprun AS last WHERE last.item_id = item.id)
        AND NOT EXISTS (
            SELECT 1
            FROM mastercal
            JOIN statechange ON statechange.item_id = mastercal.id
            JOIN steprun AS making ON making.id = statechange.steprun_id
            JOIN state AS finished ON finished.id = statechange.nw_state_id
            WHERE mastercal.ccd_id = campaign.ccd_id
              AND making.ended_at >= wait.started_at
              AND finished.name IN ('master_accepted', 'master_rejected', 'failed_to_combine')
        )
  )
ORDER BY
    EXISTS (SELECT 1 FROM steprun AS failure WHERE failure.item_id = item.id AND failure.status = 'failed'),
    item.id
