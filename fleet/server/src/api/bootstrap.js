// The loop of a RackHD-era node: asks for commands, runs them, posts what they printed (RackHD on-taskgraph,
// data/templates/bootstrap.js). Sent to nodes whose image has Node.js and not overboot's own agent. Its exit status tells
// /etc/rc.local what to do: 1 reboots, 2 cycles the power, 127 stays.
'use strict';
var http = require('http');
var fs = require('fs');
var path = require('path');
var exec = require('child_process').exec;

var server = '@SERVER@';
var port = '@PORT@';
var identifier = '@IDENTIFIER@';
var tasksPath = '/api/current/tasks/' + identifier;
var PAUSE = 5000;
var LONGEST_PAUSE = 60000;
var MAX_OUTPUT = 5000 * 1024;

function get(url, done) {
    var finished = false;
    function once(error, status, body) {
        if (!finished) { finished = true; done(error, status, body); }
    }
    http.get(url, function (response) {
        var chunks = [];
        response.on('data', function (chunk) { chunks.push(chunk); });
        response.on('end', function () { once(null, response.statusCode, Buffer.concat(chunks)); });
        response.on('error', once);
    }).on('error', once);
}

function download(task, done) {
    if (!task.downloadUrl) { return done(); }
    get(task.downloadUrl, function (error, status, body) {
        if (error) { return done(error.toString()); }
        if (status !== 200) { return done('HTTP status ' + status + ' for ' + task.downloadUrl); }
        var file = path.basename(task.downloadUrl);
        fs.writeFile(file, body, function (error) {
            if (error) { return done(error.toString()); }
            fs.chmod(file, parseInt('0555', 8), function (error) { done(error && error.toString()); });
        });
    });
}

function run(task, done) {
    download(task, function (error) {
        if (error) { task.error = error; return done(true); }
        var options = { maxBuffer: MAX_OUTPUT, timeout: task.timeout || 0 };
        exec(task.cmd, options, function (error, stdout, stderr) {
            task.stdout = stdout;
            task.stderr = stderr;
            task.error = null;
            if (!error) { return done(false); }
            task.error = error.code === undefined ? error.toString() :
                { killed: error.killed, code: error.code, signal: error.signal, cmd: error.cmd };
            var accepted = Array.isArray(task.acceptedResponseCodes) ? task.acceptedResponseCodes : [];
            done(accepted.indexOf(error.code) === -1);
        });
    });
}

function runAll(tasks, index, done) {
    if (index >= tasks.length) { return done(); }
    run(tasks[index], function (failed) {
        if (failed) { return done(); }
        runAll(tasks, index + 1, done);
    });
}

function post(work, attempt, done) {
    var body = new Buffer(JSON.stringify(work));
    var request = http.request({
        hostname: server, port: port, path: tasksPath, method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Content-Length': body.length }
    }, function (response) {
        response.on('data', function () {});
        response.on('end', done);
    });
    request.on('error', function () {
        setTimeout(function () { post(work, attempt + 1, done); }, Math.min(PAUSE * attempt, LONGEST_PAUSE));
    });
    request.end(body);
}

function later() { setTimeout(poll, PAUSE); }

function poll() {
    get('http://' + server + ':' + port + tasksPath, function (error, status, body) {
        var work;
        try { work = JSON.parse(body.toString()); } catch (e) { return later(); }
        if (status !== 200 || !Array.isArray(work.tasks)) { return later(); }
        runAll(work.tasks, 0, function () {
            post(work, 1, function () {
                if (work.exit === undefined) { return later(); }
                process.exit(work.exit.code || work.exit);
            });
        });
    });
}

poll();
