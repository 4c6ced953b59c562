//! Runs of graphs.

use sqlx::sqlite::SqliteConnection;

use super::{State, database, from_text, ids, to_text};
use crate::{Error, NodeId, TaskId, Timestamp, Workflow, WorkflowId};

type Row = (String, i64);

fn workflow(doing: &'static str, (text, version): Row) -> Result<Workflow, Error> {
    Ok(Workflow { version, ..from_text(doing, &text)? })
}

impl State {
    /// The run with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn workflow(&self, id: &WorkflowId) -> Result<Option<Workflow>, Error> {
        let sql = "SELECT document, version FROM workflows WHERE instance_id = $1";
        self.first_workflow("reading a workflow", sql, id.as_str()).await
    }

    /// The run that has taken a node and has not ended.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn active_workflow(&self, node: &NodeId) -> Result<Option<Workflow>, Error> {
        let sql = "SELECT document, version FROM workflows WHERE target = $1 AND active";
        self.first_workflow("looking for a node's active workflow", sql, node.as_str()).await
    }

    /// The run that a node had last, ended or not.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn latest_workflow(&self, node: &NodeId) -> Result<Option<Workflow>, Error> {
        let sql = "SELECT document, version FROM workflows WHERE target = $1 \
                   ORDER BY created_at DESC, instance_id LIMIT 1";
        self.first_workflow("looking for a node's latest workflow", sql, node.as_str()).await
    }

    /// The run that a task has started.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn child_workflow(&self, parent: &TaskId) -> Result<Option<Workflow>, Error> {
        let sql = "SELECT document, version FROM workflows WHERE parent_task = $1 \
                   ORDER BY created_at DESC LIMIT 1";
        self.first_workflow("looking for a task's workflow", sql, parent.as_str()).await
    }

    async fn first_workflow(
        &self,
        doing: &'static str,
        sql: &'static str,
        key: &str,
    ) -> Result<Option<Workflow>, Error> {
        let row: Option<Row> = sqlx::query_as(sql)
            .bind(key)
            .fetch_optional(&self.readers)
            .await
            .map_err(database(doing))?;
        row.map(|row| workflow(doing, row)).transpose()
    }

    /// Runs, oldest first: all or one node's; all, active ones, or ended ones.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn workflows(
        &self,
        node: Option<&NodeId>,
        active: Option<bool>,
    ) -> Result<Vec<Workflow>, Error> {
        const DOING: &str = "listing workflows";
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT document, version FROM workflows \
             WHERE ($1 IS NULL OR target = $1) AND ($2 IS NULL OR active = $2) \
             ORDER BY created_at, instance_id",
        )
        .bind(node.map(NodeId::to_string))
        .bind(active)
        .fetch_all(&self.readers)
        .await
        .map_err(database(DOING))?;
        rows.into_iter().map(|row| workflow(DOING, row)).collect()
    }

    /// Active runs in which something is to happen by itself at `now` or was before.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn due_workflows(&self, now: Timestamp) -> Result<Vec<WorkflowId>, Error> {
        const DOING: &str = "looking for due workflows";
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT instance_id FROM workflows WHERE active AND due_at <= $1 ORDER BY due_at",
        )
        .bind(now.as_millis())
        .fetch_all(&self.readers)
        .await
        .map_err(database(DOING))?;
        ids(DOING, &rows)
    }

    /// The next time at which something is to happen by itself, in a run or to a login.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        let row: (Option<i64>,) = sqlx::query_as(
            "SELECT MIN(due_at) FROM (SELECT MIN(due_at) AS due_at FROM workflows WHERE active \
             UNION ALL SELECT MIN(due_at) FROM sessions) AS all_due",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(database("looking for what is due next"))?;
        Ok(row.0.map(Timestamp::from_millis))
    }

    /// Deletes the record of a run. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn delete_workflow(&self, id: &WorkflowId) -> Result<bool, Error> {
        self.delete(
            "deleting a workflow",
            "DELETE FROM workflows WHERE instance_id = $1",
            &[id.as_str()],
        )
        .await
    }
}

/// Writes a new run (version 0) or the next version of one.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    workflow: &Workflow,
) -> Result<(), Error> {
    const DOING: &str = "writing a workflow";
    let query = if workflow.version == 0 {
        sqlx::query(
            "INSERT INTO workflows (instance_id, id, target, parent_task, active, version, \
             due_at, created_at, document) VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8)",
        )
        .bind(workflow.instance_id.as_str())
        .bind(workflow.id.as_str())
        .bind(workflow.node.as_ref().map(NodeId::as_str))
        .bind(workflow.parent_task_id.as_ref().map(TaskId::as_str))
        .bind(workflow.status.is_active())
        .bind(workflow.due().map(Timestamp::as_millis))
        .bind(workflow.created_at.as_millis())
        .bind(to_text(DOING, workflow)?)
    } else {
        sqlx::query(
            "UPDATE workflows SET active = $2, version = version + 1, due_at = $3, document = $4 \
             WHERE instance_id = $1 AND version = $5",
        )
        .bind(workflow.instance_id.as_str())
        .bind(workflow.status.is_active())
        .bind(workflow.due().map(Timestamp::as_millis))
        .bind(to_text(DOING, workflow)?)
        .bind(workflow.version)
    };
    let done =
        query.execute(connection).await.map_err(|source| match (&source, &workflow.node) {
            (sqlx::Error::Database(error), Some(target)) if error.is_unique_violation() => {
                Error::TargetTaken { target: target.clone() }
            }
            _ => Error::Database { doing: DOING, source },
        })?;
    if done.rows_affected() == 0 {
        return Err(Error::Changed { workflow: workflow.instance_id.clone() });
    }
    Ok(())
}
