parent.postMessage(document.getElementById("content").textContent, "*");
